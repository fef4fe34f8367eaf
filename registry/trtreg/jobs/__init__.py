"""Many builds, here or on the farm: asked for, followed, worked on; an upgrade rehearsed."""
