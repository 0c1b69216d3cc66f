local draining = obj.spec.drain == true
local leaving = obj.metadata.deletionTimestamp ~= nil or (obj.status or {}).phase == "Terminating"

return {
  drain = { disabled = draining or leaving },
  undrain = { disabled = not draining or leaving },
}
