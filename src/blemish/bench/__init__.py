"""Many methods on many data sets: a suite → cells → results, tables and a page."""
