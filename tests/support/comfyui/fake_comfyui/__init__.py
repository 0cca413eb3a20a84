"""A small ComfyUI for tests: the real one's HTTP and websocket interface, as it was recorded.

It checks graphs as a real server does, keeps a queue, a history and a cache, and really runs the nodes that
the tests' workflows are made of: pictures and videos come out of it, made of the files put in. What tests
need beyond that (to hold it, to break it, to see what was asked of it) is under ``/fake``.
"""
