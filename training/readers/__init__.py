"""One module per format of captioned photos: `claims(path)` recognises it, `read(path, images)` lists what it holds."""
