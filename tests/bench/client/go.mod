module ipwarden/tests/bench/client

go 1.26.0
