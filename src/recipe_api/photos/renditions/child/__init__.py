"""The child process that decodes a photo: `python -I -m recipe_api.photos.renditions.child JOB`.

Only this package imports Pillow and pillow-heif, and nothing outside imports this package, so that no decoder is ever
loaded into the web process. `confinement` sets the limits of the process. `photo_input` reads the photo as it arrives.
`decoders` has a decoder for each type, which returns rows of pixels; `resampling` shrinks them, `colour` converts them
to sRGB, `renditions` encodes them, and `thumbhash` computes the placeholder. Startup time matters as well, so this
package avoids modules that are slow to import, such as `dataclasses`.
"""
