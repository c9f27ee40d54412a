"""How fast this machine makes faces, with the choices that a user has."""
