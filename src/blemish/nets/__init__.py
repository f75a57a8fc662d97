"""Bricks of the methods: frozen extractors and their features."""
