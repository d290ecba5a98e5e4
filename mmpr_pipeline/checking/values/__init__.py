"""Expression trees and their comparison."""
