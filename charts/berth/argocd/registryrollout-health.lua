-- Health of a RegistryRollout for Argo CD, by its phase.
local hs = { status = "Progressing", message = "" }
if obj.status == nil or obj.status.phase == nil then
  hs.message = "it has not begun"
  return hs
end
local words = {
  Idle = "Healthy",
  Completed = "Healthy",
  Superseded = "Healthy",
  Paused = "Suspended",
  AwaitingApproval = "Suspended",
  Held = "Degraded",
  RolledBack = "Degraded",
  Failed = "Degraded",
}
hs.status = words[obj.status.phase] or "Progressing"
hs.message = obj.status.message or ""
return hs
