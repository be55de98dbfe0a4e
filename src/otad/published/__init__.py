"""The published facts as package data: numbers, claims, figures, inconsistencies, protocols."""
