"""`demure images fetch`: the images that an items file gives as URLs."""
