module allow-networks

go 1.24
