"""Makes defects on good images: for training, for rehearsals, for data sets of their own."""
