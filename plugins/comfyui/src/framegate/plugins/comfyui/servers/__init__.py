"""Talk to ComfyUI servers over their HTTP and websocket API."""
