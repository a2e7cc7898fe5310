"""What tests share: paths, cases, fakes."""
