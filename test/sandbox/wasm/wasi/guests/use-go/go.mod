module example.com/use-go

go 1.24
