"""The tabs of the page, one file each; none imports PyTorch or Ray."""
