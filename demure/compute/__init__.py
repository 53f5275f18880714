"""Where to compute: the device, and several processes that train one model."""
