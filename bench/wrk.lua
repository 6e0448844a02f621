-- The same bodies as the other generator: one JSON body per line of the file, "@NONCE@" replaced by seven new letters.
local bodies, turn, nonce = {}, 0, 0

function init(args)
    for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
    nonce = tonumber(args[2])
    wrk.headers["content-type"] = "application/json"
end

local function letters(n)
    local out = {}
    for i = 1, 7 do
        out[i] = string.char(97 + n % 26)
        n = math.floor(n / 26)
    end
    return table.concat(out)
end

function request()
    turn = turn % #bodies + 1
    nonce = nonce + 1
    local body = bodies[turn]:gsub("@NONCE@", letters(nonce), 1)
    return wrk.format("POST", nil, nil, body)
end
