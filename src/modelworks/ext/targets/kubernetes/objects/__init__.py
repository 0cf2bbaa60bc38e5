"""What a deployment becomes: native objects, one module a kind. Pure: nobody is asked."""
