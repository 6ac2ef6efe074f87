"""Parts of networks, and the losses of the papers by equation number."""
