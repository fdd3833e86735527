"""What the X2BRSlicer module is made of: parameters, the scene adapter and the way to the core."""
