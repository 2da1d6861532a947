module signalrd

go 1.26
