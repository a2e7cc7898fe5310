"""Pure room: readings → joules; windows; attribution to requests and phases; intervals of confidence."""
