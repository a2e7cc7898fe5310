"""A recorded run becomes the report document: account, ceilings, diagnosis, figures."""
