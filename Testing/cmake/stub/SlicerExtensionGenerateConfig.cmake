# Stands in for the file of that name in Slicer's build tree; only that it is included is seen.
set(STUB_CONFIG_GENERATED ON)
