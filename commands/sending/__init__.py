"""Reading a send of the end-user layer, for every door that offers it."""
