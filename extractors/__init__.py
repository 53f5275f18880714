"""Encoders of texts, images and attributes; ``demure.extraction.protocol`` describes what an encoder is."""
