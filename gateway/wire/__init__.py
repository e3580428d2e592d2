"""What travels over HTTP: requests as structs that check types, answers as structs that fix their fields."""
