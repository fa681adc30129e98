"""What every test of the checkout shares: nested pytest runs."""

pytest_plugins = ["pytester"]
