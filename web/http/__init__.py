"""HTTP building blocks that know no resource: bodies, parameters, pages, preconditions, errors."""
