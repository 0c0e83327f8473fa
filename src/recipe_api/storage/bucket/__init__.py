"""The bucket itself: what it should be like, bringing it there, what to permit whom, and what is wrong with it.

`wish` and `policies` are documents and know of no network; `steps` and `setup` look and change; `doctor` walks the path
of a photo with `checks`. The service itself needs none of this: it takes the bucket as it is.
"""
