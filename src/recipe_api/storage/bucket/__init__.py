"""The bucket's configuration: its desired state, setting it up, the permissions that each job needs, and diagnosis.

`desired` and `policies` produce documents and use no network. `steps` and `setup` read and change the bucket. `doctor`
runs `checks` along the path of a photo. `trial` writes and fetches the test photo of both. The service imports none of
this.
"""
