"""Where models are read, plans built and judged: a child process per order, with limits.

`supervisor` is the parent's side, `child` the process, `steps` what it does, `wire` what the two say to each other.
All that opens an untrusted file or calls a runtime that may crash, hang or eat the memory happens in the child.
"""
