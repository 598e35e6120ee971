"""How good a map is where nobody has labels; see docs/trust.md."""
