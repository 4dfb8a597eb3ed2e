-- wrk: POST the file that $BODY names, as JSON, and count what is not 200
local file = io.open(os.getenv("BODY"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
file:close()
