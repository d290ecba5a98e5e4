"""Models beside one another: intervals, differences, tables, pictures, leader boards."""
