-- Asks the newest roll-out of a Registry to pause.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["berth.dev/rollout-pause"] = obj.status.rollout.id .. " by Argo CD"
return obj
