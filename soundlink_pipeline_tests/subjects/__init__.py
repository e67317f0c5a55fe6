"""A third subject, made up: an account with radio stations, and an export about them that is data alone."""
