"""The monitor's page, metrics and exports."""
