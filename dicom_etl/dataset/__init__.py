"""Where rows are stored, and how they are read back. h5py is known here, and in verify, batches and report."""
