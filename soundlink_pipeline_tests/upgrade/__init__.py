"""Project folders made by earlier versions, and that the current code goes on with them."""
