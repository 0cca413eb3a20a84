"""A small ComfyUI for tests, with the HTTP and websocket interface of a real one as it was recorded.

It validates graphs as a real server does, keeps a queue, a history and a cache, and runs the nodes that the
tests' workflows consist of: images and videos come out, made from the files that were uploaded. Routes under
``/fake`` hold it, break it and show the requests that it received.
"""
