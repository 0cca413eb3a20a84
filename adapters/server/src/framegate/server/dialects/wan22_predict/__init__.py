"""The dialect wan22-predict."""
