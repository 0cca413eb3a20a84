"""What tests share: servers and clients in processes of their own, stand-ins and samples."""
