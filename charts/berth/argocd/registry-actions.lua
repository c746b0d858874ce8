-- Which actions Argo CD offers for a Registry: those that its roll-out can obey now.
local phase = nil
if obj.status ~= nil and obj.status.rollout ~= nil then
  phase = obj.status.rollout.phase
end
local ended = phase == nil or phase == "Idle" or phase == "Completed" or phase == "RolledBack"
  or phase == "Superseded" or phase == "Failed"
local stands = phase == "Paused" or phase == "Held"
return {
  ["pause"] = { ["disabled"] = ended or stands },
  ["resume"] = { ["disabled"] = not stands },
  ["abort"] = { ["disabled"] = ended or phase == "RollingBack" },
  ["retry"] = { ["disabled"] = not (phase == "RolledBack" or phase == "Failed" or phase == "Held") },
}
