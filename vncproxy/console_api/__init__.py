"""Nova's console API: who asks for a console of a server gets a URL that opens it."""
