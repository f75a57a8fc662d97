"""Pictures and pages for people: overlays of single images, an HTML report of a test set."""
