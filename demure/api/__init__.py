"""What `import demure` offers: datasets and runs as objects that return pandas frames and draw themselves in
notebooks."""
