"""Graph attention layers from several libraries behind one contract; imports nothing from `bench`."""
