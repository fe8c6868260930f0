"""What ``make demo`` and the tests share: a real S3 server on this machine."""
