"""A vendor's own books in the shapes in which vendors report them."""
