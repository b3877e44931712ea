"""One gateway in several processes: a parent that holds the sockets, and workers that serve.

``parent`` keeps the workers running and speaks for them, ``launch`` starts one, ``child`` is what
it runs. ``sockets`` has both ends of a handed-down listening socket, ``commands`` what the two
processes say to each other.
"""
